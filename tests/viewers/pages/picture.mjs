// What a canvas shows after `draw` has been called until viewers that sort or load in other threads have settled.

const FRAMES = 60;

export async function settled(canvas, draw, frames = FRAMES) {
  for (let i = 0; i < frames; i++) {
    await new Promise((resolve) => setTimeout(resolve, 30));
    draw();
  }
  // In the same task as the last drawing: afterwards a canvas may be cleared.
  return taken(canvas, draw);
}

export function taken(canvas, draw) {
  draw();
  const data = canvas.toDataURL("image/png");
  return Uint8Array.from(atob(data.split(",")[1]), (c) => c.charCodeAt(0));
}
