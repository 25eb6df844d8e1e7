// What the page shows is in its address, so that it can be kept and shared.
export interface View {
  query: string;
  // window in milliseconds.
  window: number;
}

export function readView(windows: number[]): View {
  const params = new URLSearchParams(location.hash.slice(1));
  const window = Number(params.get("window")) * 1000;
  return { query: params.get("query") ?? "", window: windows.includes(window) ? window : (windows[1] ?? 0) };
}

export function writeView(view: View): void {
  const params = new URLSearchParams({ window: String(view.window / 1000) });
  if (view.query !== "") params.set("query", view.query);
  const hash = `#${params}`;
  if (hash !== location.hash) history.pushState(null, "", hash);
}
