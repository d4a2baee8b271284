import { capture } from "./capture.mjs";

// gs3d's own .html page, in a frame, as if it were opened from disk.
export async function show({ canvas, url, eye, fovy }) {
  const [x, y, z] = eye, distance = Math.hypot(x, y, z), degrees = 180 / Math.PI;
  const azimuth = Math.atan2(x, z) * degrees, elevation = Math.asin(y / distance) * degrees;
  const frame = document.createElement("iframe");
  const width = `${canvas.width}px`, height = `${canvas.height}px`;
  Object.assign(frame.style, { border: 0, width, height });
  frame.src = `${url}#${new URLSearchParams({ azimuth, elevation, distance })}`;
  canvas.replaceWith(frame);
  await new Promise((resolve) => { frame.onload = resolve; });
  const { draw, state } = await frame.contentWindow.gs3d;
  if (Math.abs(state.fovy * degrees - fovy) > 1e-6) {
    throw new Error(`expected a field of view of ${fovy} degrees`);
  }
  return capture(frame.contentDocument.querySelector("canvas"), draw);
}
