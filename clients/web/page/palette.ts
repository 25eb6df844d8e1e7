// Lines are told apart by the colours of the palette, and those beyond them by dashes.
const colors = 8;
const dashes = 4;

// colorOf is the number of the colour of a place in the palette.
export function colorOf(slot: number): number {
  return slot % colors;
}

// dashOf is the number of its dash, 0 for a whole line.
export function dashOf(slot: number): number {
  return Math.floor(slot / colors) % dashes;
}
