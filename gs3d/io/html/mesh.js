// Draws the mesh of the page, in its own colors and without light, like gs3d render.

const MESH_VERTEX = `#version 300 es
precision highp float;
uniform mat3 turn;
uniform vec3 eye;
uniform vec2 size;
uniform vec2 planes;
uniform float focal;
in vec3 position;
in vec2 uv;
in vec3 shade;
out vec2 place;
out vec3 color;

void main() {
  vec3 p = turn * (position - eye); // x right, y down, z forward
  float depth = (p.z * (planes.y + planes.x) - 2.0 * planes.x * planes.y) / (planes.y - planes.x);
  gl_Position = vec4(2.0 * focal * p.x / size.x, -2.0 * focal * p.y / size.y, depth, p.z);
  place = uv;
  color = shade;
}`;
const MESH_FRAGMENT = `#version 300 es
precision highp float;
uniform sampler2D image;
in vec2 place;
in vec3 color;
out vec4 result;
void main() { result = vec4(color * texture(image, place).rgb, 1.0); }`;

// The first mesh of a .glb, as gs3d writes it: `positions`, `indices`, and `shades` in sRGB, or
// `uvs` and an image.
async function parseGlb(bytes) {
  const view = new DataView(bytes.buffer);
  if (view.getUint32(0, true) !== 0x46546c67) throw new Error("the mesh in this page is damaged");
  const length = view.getUint32(12, true), start = 20 + length + 8;
  const tree = JSON.parse(new TextDecoder().decode(bytes.subarray(20, 20 + length)));
  const part = (index) => {
    const { byteOffset = 0, byteLength } = tree.bufferViews[index];
    return bytes.slice(start + byteOffset, start + byteOffset + byteLength);
  };
  const kinds = { 5121: Uint8Array, 5125: Uint32Array, 5126: Float32Array };
  const array = (index) => {
    const { bufferView, componentType } = tree.accessors[index];
    return new kinds[componentType](part(bufferView).buffer);
  };
  const { attributes, indices } = tree.meshes[0].primitives[0];
  const mesh = { positions: array(attributes.POSITION), indices: array(indices) };
  if (attributes.TEXCOORD_0 === undefined) {
    // Colors of vertices are linear, with an opacity that is not used.
    const values = array(attributes.COLOR_0), count = mesh.positions.length / 3;
    const rows = values.length / count, srgb = (x) =>
      x <= 0.0031308 ? 12.92 * x : 1.055 * x ** (1 / 2.4) - 0.055;
    mesh.shades = Float32Array.from({ length: 3 * count }, (_, i) =>
      srgb(values[rows * Math.floor(i / 3) + (i % 3)] / 255));
    return mesh;
  }
  const { bufferView, mimeType } = tree.images[0];
  const file = new Blob([part(bufferView)], { type: mimeType });
  const image = await createImageBitmap(file, { colorSpaceConversion: "none" });
  return { ...mesh, uvs: array(attributes.TEXCOORD_0), image };
}

async function prepareMesh(gl) {
  const { positions, indices, shades, uvs, image } = await parseGlb(await unpack());
  const program = createProgram(gl, MESH_VERTEX, MESH_FRAGMENT);
  gl.useProgram(program);
  const attribute = (name, values, components) =>
    createAttribute(gl, program, name, values, components, 0, gl.STATIC_DRAW);
  attribute("position", positions, 3);
  // What is not there is one value for all: white, or the middle of a white texture.
  if (uvs) attribute("uv", uvs, 2);
  if (shades) attribute("shade", shades, 3);
  else gl.vertexAttrib3f(gl.getAttribLocation(program, "shade"), 1, 1, 1);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  const white = new ImageData(new Uint8ClampedArray([255, 255, 255, 255]), 1, 1);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, image ?? white);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
  for (const wrap of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) {
    gl.texParameteri(gl.TEXTURE_2D, wrap, gl.CLAMP_TO_EDGE);
  }
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, indices, gl.STATIC_DRAW);
  gl.enable(gl.DEPTH_TEST);
  const uniform = (name) => gl.getUniformLocation(program, name);
  const at = Object.fromEntries(
    ["turn", "eye", "size", "planes", "focal"].map((name) => [name, uniform(name)]));

  function paint({ eye, right, down, forward, width, height, focal }) {
    gl.uniformMatrix3fv(at.turn, true, [...right, ...down, ...forward]);
    gl.uniform3fv(at.eye, eye);
    gl.uniform2f(at.size, width, height);
    gl.uniform2f(at.planes, 0.01 * state.distance, state.distance + 10 * HOME.distance);
    gl.uniform1f(at.focal, focal);
    gl.drawElements(gl.TRIANGLES, indices.length, gl.UNSIGNED_INT, 0);
  }
  return { points: positions, strayShare: 0, paint };
}

start(prepareMesh, { antialias: true });
