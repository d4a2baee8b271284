// Images of a canvas, as PNG bytes.

const FRAMES = 60;

// Draws `frames` frames first, because viewers sort and load in other threads.
export async function settled(canvas, draw, frames = FRAMES) {
  for (let i = 0; i < frames; i++) {
    await new Promise((resolve) => setTimeout(resolve, 30));
    draw();
  }
  return capture(canvas, draw);
}

// Reads the canvas in the same task as the drawing, because it may be cleared afterwards.
export function capture(canvas, draw) {
  draw();
  const data = canvas.toDataURL("image/png");
  return Uint8Array.from(atob(data.split(",")[1]), (c) => c.charCodeAt(0));
}
