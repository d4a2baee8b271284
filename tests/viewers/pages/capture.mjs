// Images of a canvas, as PNG bytes.

const FRAMES = 60;
const SAME = 30;

// Draws frames until one has come SAME times in a row, because viewers sort and load in other
// threads. An image like the first frame does not count: it may still be empty. In any case ends
// after `frames`.
export async function settled(canvas, draw, frames = FRAMES) {
  draw();
  const first = canvas.toDataURL("image/png");
  let last = first;
  for (let i = 0, same = 0; i < frames && same < SAME; i++) {
    await new Promise((resolve) => setTimeout(resolve, 30));
    draw();
    const now = canvas.toDataURL("image/png");
    same = now === last && now !== first ? same + 1 : 0;
    last = now;
  }
  return capture(canvas, draw);
}

// Reads the canvas in the same task as the drawing, because it may be cleared afterwards.
export function capture(canvas, draw) {
  draw();
  const data = canvas.toDataURL("image/png");
  return Uint8Array.from(atob(data.split(",")[1]), (c) => c.charCodeAt(0));
}
