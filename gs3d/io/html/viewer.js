// Splats of an .spz (version 3) that stands in the page, drawn with WebGL 2: sorted by depth on the CPU, one quad each, blended back to
// front. The projection is that of gs3d's rasteriser: EWA with 0.3 square pixels of blur, up to where opacity falls to 1/255.

const canvas = document.getElementById("view");
const said = document.getElementById("said");

// ---- The file

async function unpacked() {
  const text = document.getElementById("splats").textContent;
  const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function parsed(bytes) {
  const view = new DataView(bytes.buffer);
  if (view.getUint32(0, true) !== 0x5053474e || view.getUint32(4, true) !== 3) throw new Error("the splats in this page are damaged");
  const count = view.getUint32(8, true), degree = view.getUint8(12), unit = 1 / (1 << view.getUint8(13));
  const rest = (degree + 1) ** 2 - 1;
  let at = 16;
  const take = (size) => bytes.subarray(at, (at += size * count));
  const positions = take(9), alphas = take(1), colours = take(3), scales = take(3), rotations = take(4), harmonics = take(3 * rest);
  const means = new Float32Array(3 * count);
  for (let i = 0; i < 3 * count; i++) {
    means[i] = (((positions[3 * i] << 8) | (positions[3 * i + 1] << 16) | (positions[3 * i + 2] << 24)) >> 8) * unit;
  }
  const rows = Math.ceil(count / WIDTH);
  const data = new Float32Array(4 * 4 * WIDTH * rows); // four texels a splat: mean, two of covariance, colour and opacity
  const quat = [0, 0, 0, 0];
  for (let i = 0; i < count; i++) {
    const o = 16 * i;
    data.set(means.subarray(3 * i, 3 * i + 3), o);
    const word = (rotations[4 * i] | (rotations[4 * i + 1] << 8) | (rotations[4 * i + 2] << 16) | (rotations[4 * i + 3] << 24)) >>> 0;
    const largest = word >>> 30;
    let sum = 0;
    for (let k = 3, shift = 0; k >= 0; k--) {
      if (k === largest) continue;
      const field = (word >>> shift) & 1023;
      quat[k] = ((field & 511) / (511 * Math.SQRT2)) * (field & 512 ? -1 : 1);
      sum += quat[k] ** 2;
      shift += 10;
    }
    quat[largest] = Math.sqrt(Math.max(0, 1 - sum));
    const [x, y, z, w] = quat;
    const [a, b, c] = [0, 1, 2].map((k) => Math.exp(2 * (scales[3 * i + k] / 16 - 10)));
    const r = [
      1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
      2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
      2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ];
    const cov = (p, q) => a * r[3 * p] * r[3 * q] + b * r[3 * p + 1] * r[3 * q + 1] + c * r[3 * p + 2] * r[3 * q + 2];
    data.set([cov(0, 0), cov(0, 1), cov(0, 2)], o + 4);
    data.set([cov(1, 1), cov(1, 2), cov(2, 2)], o + 8);
    for (let k = 0; k < 3; k++) data[o + 12 + k] = 0.5 + (0.28209479177387814 * (colours[3 * i + k] / 255 - 0.5)) / 0.15;
    data[o + 15] = alphas[i] / 255;
  }
  const sh = new Uint8Array(4 * Math.max(rest, 1) * WIDTH * rows);
  for (let i = 0; i < count * rest; i++) sh.set(harmonics.subarray(3 * i, 3 * i + 3), 4 * i);
  return { count, rest, rows, means, data, sh };
}

// ---- The program

const WIDTH = 512; // splats in a row of the textures: 4 · 512 texels fit everywhere
const VERTEX = `#version 300 es
precision highp float;
precision highp int;
uniform highp sampler2D splats;
uniform highp sampler2D harmonics;
uniform mat3 turn;
uniform vec3 eye;
uniform vec2 size;
uniform float focal;
uniform int rest;
in vec2 corner;
in uint index;
out vec2 off;
out vec4 colour;

vec4 texel(int k) { return texelFetch(splats, ivec2(4 * int(index % ${WIDTH}u) + k, int(index / ${WIDTH}u)), 0); }

vec3 coefficient(int k) {
  return (texelFetch(harmonics, ivec2(rest * int(index % ${WIDTH}u) + k, int(index / ${WIDTH}u)), 0).rgb * 255.0 - 128.0) / 128.0;
}

vec3 shaded(vec3 base, vec3 d) {
  if (rest < 3) return base;
  float x = d.x, y = d.y, z = d.z;
  base += 0.4886025119029199 * (-y * coefficient(0) + z * coefficient(1) - x * coefficient(2));
  if (rest < 8) return base;
  base += 1.0925484305920792 * (x * y * coefficient(3) - y * z * coefficient(4) - x * z * coefficient(6));
  base += 0.31539156525252005 * (3.0 * z * z - 1.0) * coefficient(5) + 0.5462742152960396 * (x * x - y * y) * coefficient(7);
  if (rest < 15) return base;
  base += -0.5900435899266435 * (y * (3.0 * x * x - y * y) * coefficient(8) + x * (x * x - 3.0 * y * y) * coefficient(14));
  base += 2.890611442640554 * x * y * z * coefficient(9) + 1.445305721320277 * z * (x * x - y * y) * coefficient(13);
  base += -0.4570457994644658 * (5.0 * z * z - 1.0) * (y * coefficient(10) + x * coefficient(12));
  return base + 0.3731763325901154 * z * (5.0 * z * z - 3.0) * coefficient(11);
}

void main() {
  vec3 mean = texel(0).xyz, a = texel(1).xyz, b = texel(2).xyz;
  vec4 paint = texel(3);
  vec3 p = turn * (mean - eye); // x right, y down, z ahead
  gl_Position = vec4(0.0, 0.0, 2.0, 1.0);
  off = vec2(0.0);
  colour = vec4(0.0);
  if (p.z < 0.01 || paint.a < 1.0 / 255.0) return;
  mat3 world = mat3(a.x, a.y, a.z, a.y, b.x, b.y, a.z, b.y, b.z);
  vec2 most = 0.65 * size / focal; // beyond the picture's edge a slope is held, as everywhere
  vec2 slope = clamp(p.xy / p.z, -most, most);
  mat3 view = turn * world * transpose(turn);
  vec3 jx = vec3(focal / p.z, 0.0, -focal * slope.x / p.z), jy = vec3(0.0, focal / p.z, -focal * slope.y / p.z);
  float xx = dot(jx, view * jx) + 0.3, xy = dot(jx, view * jy), yy = dot(jy, view * jy) + 0.3;
  float middle = 0.5 * (xx + yy), apart = sqrt(max(0.25 * (xx - yy) * (xx - yy) + xy * xy, 1e-12));
  vec2 axis = abs(xy) > 1e-9 ? normalize(vec2(xy, middle + apart - xx)) : (xx >= yy ? vec2(1, 0) : vec2(0, 1));
  float reach = sqrt(2.0 * log(255.0 * paint.a));
  vec2 along = axis * sqrt(middle + apart), across = vec2(-axis.y, axis.x) * sqrt(max(middle - apart, 0.0));
  off = corner * reach;
  vec2 pixel = focal * p.xy / p.z + off.x * along + off.y * across;
  gl_Position = vec4(2.0 * pixel.x / size.x, -2.0 * pixel.y / size.y, 0.0, 1.0);
  colour = vec4(max(shaded(paint.rgb, normalize(mean - eye)), 0.0), paint.a);
}`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec2 off;
in vec4 colour;
out vec4 result;
void main() {
  float alpha = min(colour.a * exp(-0.5 * dot(off, off)), 0.999);
  if (alpha < 1.0 / 255.0) discard;
  result = vec4(colour.rgb * alpha, alpha);
}`;

function program(gl) {
  const made = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
  return made;
}

function texture(gl, unit, format, width, height, type, layout, data) {
  gl.activeTexture(gl.TEXTURE0 + unit);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  gl.texImage2D(gl.TEXTURE_2D, 0, format, width, height, 0, layout, type, data);
  for (const side of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, side, gl.NEAREST);
}

// ---- The camera: around a target, y up

const HOME = { azimuth: 0.5, elevation: 0.25, distance: 3.2, target: [0, 0, 0] };
const GROUNDS = [[0.92, 0.92, 0.92], [1, 1, 1], [0.12, 0.12, 0.13]];
const state = { fovy: (38 * Math.PI) / 180, ground: 0, spin: false };

// A camera in the address, #azimuth=30&elevation=20 in degrees and distance=3, is where the page opens.
function asked() {
  const query = new URLSearchParams(location.hash.slice(1));
  for (const [name, unit] of [["azimuth", Math.PI / 180], ["elevation", Math.PI / 180], ["distance", 1]]) {
    const value = Number.parseFloat(query.get(name));
    if (Number.isFinite(value)) HOME[name] = value * unit;
  }
}

function home() {
  Object.assign(state, { ...HOME, target: [...HOME.target] });
}

function pose() {
  const { azimuth, elevation, distance, target } = state;
  const back = [Math.sin(azimuth) * Math.cos(elevation), Math.sin(elevation), Math.cos(azimuth) * Math.cos(elevation)];
  const right = [Math.cos(azimuth), 0, -Math.sin(azimuth)];
  const down = [Math.sin(azimuth) * Math.sin(elevation), -Math.cos(elevation), Math.cos(azimuth) * Math.sin(elevation)];
  return { eye: target.map((t, i) => t + distance * back[i]), right, down, ahead: back.map((b) => -b) };
}

// Where the page begins: as gs3d's own pictures do, unless the splats are elsewhere or of another size.
function framed(means, count) {
  const spread = (from) => {
    const away = new Float32Array(count);
    for (let i = 0; i < count; i++) away[i] = Math.hypot(means[3 * i] - from[0], means[3 * i + 1] - from[1], means[3 * i + 2] - from[2]);
    return away.sort()[Math.floor(0.999 * (count - 1))];
  };
  const reach = spread([0, 0, 0]);
  if (reach > 0.1 && reach < 1.5) return;
  HOME.target = [0, 1, 2].map((axis) => {
    const along = Float32Array.from({ length: count }, (_, i) => means[3 * i + axis]).sort();
    return (along[Math.floor(0.001 * (count - 1))] + along[Math.floor(0.999 * (count - 1))]) / 2;
  });
  HOME.distance = 3.2 * Math.max(spread(HOME.target), 1e-3);
}

// ---- Sorting: by depth in 65,536 steps, far to near

function sorted(means, count, ahead, eye, order, depths, buckets) {
  let low = Infinity, high = -Infinity;
  for (let i = 0; i < count; i++) {
    const depth = ahead[0] * (means[3 * i] - eye[0]) + ahead[1] * (means[3 * i + 1] - eye[1]) + ahead[2] * (means[3 * i + 2] - eye[2]);
    depths[i] = depth;
    if (depth < low) low = depth;
    if (depth > high) high = depth;
  }
  const steps = buckets.length - 1, scale = high > low ? (steps - 1) / (high - low) : 0;
  buckets.fill(0);
  for (let i = 0; i < count; i++) buckets[1 + Math.floor((high - depths[i]) * scale)]++;
  for (let i = 1; i <= steps; i++) buckets[i] += buckets[i - 1];
  for (let i = 0; i < count; i++) order[buckets[Math.floor((high - depths[i]) * scale)]++] = i;
}

// ---- Putting it together

async function main() {
  const gl = canvas.getContext("webgl2", { antialias: false, alpha: false });
  if (!gl) throw new Error("this browser has no WebGL 2");
  const { count, rest, rows, means, data, sh } = parsed(await unpacked());
  framed(means, count);
  asked();
  home();
  const made = program(gl);
  gl.useProgram(made);
  texture(gl, 0, gl.RGBA32F, 4 * WIDTH, rows, gl.FLOAT, gl.RGBA, data);
  texture(gl, 1, gl.RGBA8, Math.max(rest, 1) * WIDTH, rows, gl.UNSIGNED_BYTE, gl.RGBA, sh);
  const at = (name) => gl.getUniformLocation(made, name);
  gl.uniform1i(at("splats"), 0);
  gl.uniform1i(at("harmonics"), 1);
  gl.uniform1i(at("rest"), rest);
  const places = { turn: at("turn"), eye: at("eye"), size: at("size"), focal: at("focal") };
  const attribute = (name, bytes, size, divisor, usage) => {
    const place = gl.getAttribLocation(made, name), buffer = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, bytes, usage);
    gl.enableVertexAttribArray(place);
    if (bytes instanceof Uint32Array) gl.vertexAttribIPointer(place, size, gl.UNSIGNED_INT, 0, 0);
    else gl.vertexAttribPointer(place, size, gl.FLOAT, false, 0, 0);
    gl.vertexAttribDivisor(place, divisor);
    return buffer;
  };
  attribute("corner", new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]), 2, 0, gl.STATIC_DRAW);
  const order = new Uint32Array(count), depths = new Float32Array(count), buckets = new Uint32Array(65537);
  const indices = attribute("index", order, 1, 1, gl.DYNAMIC_DRAW);
  gl.enable(gl.BLEND);
  gl.blendFuncSeparate(gl.ONE, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE_MINUS_SRC_ALPHA);

  function draw() {
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.max(1, Math.round(canvas.clientWidth * ratio)), height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const { eye, right, down, ahead } = pose();
    sorted(means, count, ahead, eye, order, depths, buckets);
    gl.bindBuffer(gl.ARRAY_BUFFER, indices);
    gl.bufferSubData(gl.ARRAY_BUFFER, 0, order);
    gl.viewport(0, 0, width, height);
    gl.clearColor(...GROUNDS[state.ground], 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniformMatrix3fv(places.turn, true, [...right, ...down, ...ahead]);
    gl.uniform3fv(places.eye, eye);
    gl.uniform2f(places.size, width, height);
    // The narrower side of the picture has the angle, so that the object fits on a telephone too.
    gl.uniform1f(places.focal, Math.min(width, height) / 2 / Math.tan(state.fovy / 2));
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, count);
  }

  let waiting = false;
  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      if (state.spin) state.azimuth += 0.01;
      draw();
      if (state.spin) redraw();
    });
  }
  controls(redraw);
  new ResizeObserver(redraw).observe(canvas);
  draw();
  said.textContent = "";
  return { count, state, draw };
}

function controls(redraw) {
  const pointers = new Map();
  const zoom = (factor) => { state.distance = Math.min(Math.max(state.distance * factor, 0.05 * HOME.distance), 20 * HOME.distance); };
  const orbit = (dx, dy) => {
    state.azimuth -= dx;
    state.elevation = Math.min(Math.max(state.elevation + dy, -1.55), 1.55);
  };
  const pan = (dx, dy) => {
    const { right, down } = pose(), way = (2 * state.distance * Math.tan(state.fovy / 2)) / canvas.clientHeight;
    for (let i = 0; i < 3; i++) state.target[i] -= way * (dx * right[i] + dy * down[i]);
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    canvas.focus({ preventScroll: true });
    pointers.set(event.pointerId, event);
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const dx = event.clientX - before.clientX, dy = event.clientY - before.clientY;
    if (pointers.size === 2) {
      const other = [...pointers.values()].find((p) => p.pointerId !== event.pointerId);
      const gap = (p) => Math.hypot(p.clientX - other.clientX, p.clientY - other.clientY);
      zoom(gap(before) / Math.max(gap(event), 1));
      pan(dx / 2, dy / 2);
    } else if (before.buttons & 2 || event.shiftKey) pan(dx, dy);
    else orbit(0.008 * dx, 0.008 * dy);
    pointers.set(event.pointerId, event);
    redraw();
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => pointers.delete(event.pointerId));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(0.0015 * event.deltaY));
    redraw();
  }, { passive: false });
  const spin = () => {
    state.spin = !state.spin;
    document.getElementById("spin").setAttribute("aria-pressed", String(state.spin));
  };
  const ground = () => { state.ground = (state.ground + 1) % GROUNDS.length; };
  const keys = {
    ArrowLeft: () => orbit(0.1, 0), ArrowRight: () => orbit(-0.1, 0), ArrowUp: () => orbit(0, 0.1), ArrowDown: () => orbit(0, -0.1),
    "+": () => zoom(0.9), "=": () => zoom(0.9), "-": () => zoom(1 / 0.9), Home: home, " ": spin, b: ground, B: ground,
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
    redraw();
  });
  for (const [id, act] of [["home", home], ["spin", spin], ["ground", ground]]) {
    document.getElementById(id).addEventListener("click", () => { act(); redraw(); });
  }
}

window.gs3d = main();
window.gs3d.catch((error) => { said.textContent = `cannot be shown: ${error.message}`; });
