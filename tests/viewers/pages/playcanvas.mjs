import * as pc from "playcanvas";
import { settled } from "./picture.mjs";

export async function show({ canvas, url, eye, fovy, background }) {
  const app = new pc.Application(canvas, { graphicsDeviceOptions: { antialias: false, alpha: false } });
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
  // As SuperSplat does for every file but glTF, which is upright.
  if (/\.(ply|splat|sog)$/.test(url)) splats.setLocalEulerAngles(0, 0, 180);
  app.root.addChild(splats);
  const camera = new pc.Entity();
  camera.addComponent("camera", { clearColor: new pc.Color(...background), fov: fovy, nearClip: 0.01, farClip: 100 });
  camera.setPosition(...eye);
  camera.lookAt(0, 0, 0);
  app.root.addChild(camera);
  return settled(canvas, () => {
    app.renderNextFrame = true;
    app.tick(performance.now());
  });
}
