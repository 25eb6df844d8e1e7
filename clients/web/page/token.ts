import { byId } from "./dom";

const key = "token";

// Token is the bearer token that the user typed. It is kept for this tab, until that is
// closed.
export class Token {
  private held = read();

  // changed is called with each other token, and with none.
  constructor(changed: () => void) {
    const form = byId<HTMLFormElement>("sign-in");
    const input = byId<HTMLInputElement>("token");
    const aloud = byId<HTMLInputElement>("aloud");
    // Without TLS anybody on the way could read it, unless that leads to this machine.
    byId("in-the-clear").hidden = isSecureContext;
    aloud.required = !isSecureContext;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.hold(input.value.trim());
      input.value = "";
      changed();
    });
    byId("sign-out").addEventListener("click", () => {
      this.hold("");
      changed();
    });
    this.show();
  }

  get value(): string {
    return this.held;
  }

  // ask shows the field while a server wants another token.
  ask(wanted: boolean): void {
    byId("sign-in").hidden = !wanted;
  }

  private hold(token: string): void {
    this.held = token;
    try {
      if (token === "") sessionStorage.removeItem(key);
      else sessionStorage.setItem(key, token);
    } catch {
      // Storage is switched off: the token is good until the page is left.
    }
    this.show();
  }

  private show(): void {
    byId("sign-out").hidden = this.held === "";
  }
}

function read(): string {
  try {
    return sessionStorage.getItem(key) ?? "";
  } catch {
    return "";
  }
}
