const staleBits = 0x7ff0000000000002n;
const view = new DataView(new ArrayBuffer(8));

// isStale says whether a value is the marker that a series has ended, a NaN
// with bits of its own.
export function isStale(value: number): boolean {
  if (!Number.isNaN(value)) return false;
  view.setFloat64(0, value);
  return view.getBigUint64(0) === staleBits;
}
