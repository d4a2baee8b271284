import * as THREE from "three";
import { SparkRenderer, SplatMesh } from "@sparkjsdev/spark";
import { settled } from "./capture.mjs";

// Spark uses the axes of the file. Files with +Y down are rotated by half a turn about Z, as in
// SuperSplat.
const Y_DOWN = /\.(ply|splat)$/;

export async function show({ canvas, url, eye, fovy, background }) {
  const renderer = new THREE.WebGLRenderer({ canvas, antialias: false });
  renderer.setSize(canvas.width, canvas.height, false);
  const scene = new THREE.Scene();
  scene.background = new THREE.Color().setRGB(...background, THREE.SRGBColorSpace);
  const camera = new THREE.PerspectiveCamera(fovy, 1, 0.01, 100);
  camera.position.set(...eye);
  camera.lookAt(0, 0, 0);
  scene.add(new SparkRenderer({ renderer }));
  const splats = new SplatMesh({ url });
  await splats.initialized;
  if (Y_DOWN.test(url)) splats.quaternion.set(0, 0, 1, 0);
  scene.add(splats);
  return settled(canvas, () => renderer.render(scene, camera));
}
