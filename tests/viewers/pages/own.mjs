import { taken } from "./picture.mjs";

// gs3d's own page, as it would be opened from disk.
export async function show({ canvas, url, eye, fovy }) {
  const [x, y, z] = eye, distance = Math.hypot(x, y, z), degrees = 180 / Math.PI;
  const at = { azimuth: Math.atan2(x, z) * degrees, elevation: Math.asin(y / distance) * degrees, distance };
  const frame = document.createElement("iframe");
  Object.assign(frame.style, { border: 0, width: `${canvas.width}px`, height: `${canvas.height}px` });
  frame.src = `${url}#${new URLSearchParams(at)}`;
  canvas.replaceWith(frame);
  await new Promise((resolve) => { frame.onload = resolve; });
  const { draw, state } = await frame.contentWindow.gs3d;
  if (Math.abs(state.fovy * degrees - fovy) > 1e-6) throw new Error(`expected a page of ${fovy} degrees`);
  return taken(frame.contentDocument.querySelector("canvas"), draw);
}
