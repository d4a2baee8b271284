import * as THREE from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
import { settled } from "./capture.mjs";

// A mesh under uniform ambient light, so it shows its own colors.
export async function show({ canvas, url, eye, fovy, background }) {
  const renderer = new THREE.WebGLRenderer({ canvas, antialias: true });
  renderer.setSize(canvas.width, canvas.height, false);
  const scene = new THREE.Scene();
  scene.background = new THREE.Color().setRGB(...background, THREE.SRGBColorSpace);
  scene.add(new THREE.AmbientLight(0xffffff, Math.PI));
  const camera = new THREE.PerspectiveCamera(fovy, 1, 0.01, 100);
  camera.position.set(...eye);
  camera.lookAt(0, 0, 0);
  scene.add((await new GLTFLoader().loadAsync(url)).scene);
  return settled(canvas, () => renderer.render(scene, camera), 5);
}
