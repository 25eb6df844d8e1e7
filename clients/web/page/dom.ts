type Props = Record<string, string | boolean | number | ((event: never) => void) | undefined>;

// h makes an element. A prop that is a function is a listener, one that is
// false or undefined is left out, and any other is an attribute.
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, props: Props = {}, ...children: (Node | string)[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === "function") element.addEventListener(name, value as EventListener);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

// byId returns an element that the page has.
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (!element) throw new Error(`no element ${id}`);
  return element as T;
}

// setText writes only what changed, so that a selection or a screen reader is
// not disturbed.
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

// color resolves a colour of the style sheet under the theme that is on.
export function color(name: string): string {
  const probe = byId("probe");
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}
