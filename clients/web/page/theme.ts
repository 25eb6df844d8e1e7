import { byId } from "./dom";

type Theme = "auto" | "light" | "dark";
const order: Theme[] = ["auto", "light", "dark"];
const key = "theme";

// startTheme lets the user choose between the system's theme, light and dark.
// changed is called when colours are other ones than before.
export function startTheme(changed: () => void): void {
  const button = byId<HTMLButtonElement>("theme");
  let theme = order.find((t) => t === read()) ?? "auto";
  const show = () => {
    document.documentElement.dataset.theme = theme;
    button.textContent = { auto: "◐ Auto", light: "○ Light", dark: "● Dark" }[theme];
    button.setAttribute("aria-label", `Theme: ${theme}. Change it`);
  };
  show();
  button.addEventListener("click", () => {
    theme = order[(order.indexOf(theme) + 1) % order.length]!;
    try {
      localStorage.setItem(key, theme);
    } catch {
      // Storage is switched off: the choice is good for this visit.
    }
    show();
    changed();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
}

function read(): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}
