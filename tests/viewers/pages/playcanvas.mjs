import * as pc from "playcanvas";
import { settled } from "./capture.mjs";

export async function show({ canvas, url, eye, fovy, background }) {
  const graphicsDeviceOptions = { antialias: false, alpha: false };
  const app = new pc.Application(canvas, { graphicsDeviceOptions });
  app.graphicsDevice.maxPixelRatio = 1;
  app.setCanvasResolution(pc.RESOLUTION_FIXED, canvas.width, canvas.height);
  app.autoRender = false;
  app.start();
  const asset = new pc.Asset("splats", "gsplat", { url });
  app.assets.add(asset);
  await new Promise((resolve, reject) => {
    asset.once("load", resolve);
    asset.once("error", reject);
    app.assets.load(asset);
  });
  const splats = new pc.Entity();
  splats.addComponent("gsplat", { asset });
  // SuperSplat rotates these formats too. Only glTF files are upright without it.
  if (/\.(ply|splat|sog)$/.test(url)) splats.setLocalEulerAngles(0, 0, 180);
  app.root.addChild(splats);
  const camera = new pc.Entity();
  const clearColor = new pc.Color(...background);
  camera.addComponent("camera", { clearColor, fov: fovy, nearClip: 0.01, farClip: 100 });
  camera.setPosition(...eye);
  camera.lookAt(0, 0, 0);
  app.root.addChild(camera);
  return settled(canvas, () => {
    app.renderNextFrame = true;
    app.tick(performance.now());
  });
}
