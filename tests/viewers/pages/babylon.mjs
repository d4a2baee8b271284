import { settled } from "./capture.mjs";

const script = (src) =>
  new Promise((resolve, reject) => {
    const element = document.createElement("script");
    element.src = src;
    document.head.append(element);
    element.onload = resolve;
    element.onerror = () => reject(new Error(src));
  });

export async function show({ canvas, url, eye, fovy, background }) {
  await script("/node_modules/babylonjs/babylon.js");
  await script("/node_modules/babylonjs-loaders/babylonjs.loaders.min.js");
  const engine = new BABYLON.Engine(canvas, false, { preserveDrawingBuffer: true });
  const scene = new BABYLON.Scene(engine);
  scene.useRightHandedSystem = true;
  scene.clearColor = new BABYLON.Color4(...background, 1);
  const camera = new BABYLON.FreeCamera("camera", new BABYLON.Vector3(...eye), scene);
  camera.setTarget(BABYLON.Vector3.Zero());
  camera.fov = (fovy * Math.PI) / 180;
  camera.minZ = 0.01;
  await BABYLON.ImportMeshAsync(url, scene);
  await scene.whenReadyAsync();
  return settled(canvas, () => scene.render());
}
