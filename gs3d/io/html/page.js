// What pages of splats and of meshes share: the object in the page, the camera and its controls.

const canvas = document.getElementById("view");
const statusLine = document.getElementById("status");

// The bytes of the file in the page, which are packed with gzip.
async function unpack() {
  const text = document.getElementById("asset").textContent;
  const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// ---- Camera: orbits a target, y up; inside a scene it stands there and looks around

const INSIDE = canvas.dataset.from === "inside";
const DEGREE = Math.PI / 180;
const HOME = INSIDE // looks to the front, as gs3d's own pictures do
  ? { azimuth: Math.PI, elevation: 5 * DEGREE, distance: 0, target: [0, 0, 0], fovy: 60 * DEGREE }
  : { azimuth: 0.5, elevation: 0.25, distance: 3.2, target: [0, 0, 0], fovy: 38 * DEGREE };
const BACKGROUNDS = [[0.92, 0.92, 0.92], [1, 1, 1], [0.12, 0.12, 0.13]];
const state = { background: 0, spin: false };

// The fragment of the page's address can set the first camera, with angles in degrees, and the
// background: #azimuth=30&elevation=20&distance=3&background=2.
function readAddress() {
  const query = new URLSearchParams(location.hash.slice(1));
  for (const [name, unit] of [["azimuth", DEGREE], ["elevation", DEGREE], ["distance", 1]]) {
    const value = Number.parseFloat(query.get(name));
    // Inside a scene there is no distance, and elsewhere it is above 0.
    if (name === "distance" && (INSIDE || !(value > 0))) continue;
    if (Number.isFinite(value)) HOME[name] = value * unit;
  }
  const background = Number.parseInt(query.get("background"));
  if (BACKGROUNDS[background]) state.background = background;
}

function goHome() {
  Object.assign(state, { ...HOME, target: [...HOME.target] });
}

function pose() {
  const { azimuth, elevation, distance, target } = state;
  const sin = Math.sin(azimuth), cos = Math.cos(azimuth);
  const back = [sin * Math.cos(elevation), Math.sin(elevation), cos * Math.cos(elevation)];
  const right = [cos, 0, -sin];
  const down = [sin * Math.sin(elevation), -Math.cos(elevation), cos * Math.sin(elevation)];
  const eye = target.map((t, i) => t + distance * back[i]);
  return { eye, right, down, forward: back.map((b) => -b) };
}

// The first view is that of gs3d's own images, unless the splats are elsewhere or of another size:
// as in gs3d/ops/place.py, where a few splats far beyond the rest do not count.
function fitHome(points, strayShare) {
  const count = points.length / 3;
  const distancesTo = ([x, y, z]) => Float32Array.from({ length: count }, (_, i) =>
    Math.hypot(points[3 * i] - x, points[3 * i + 1] - y, points[3 * i + 2] - z));
  const axes = [0, 1, 2].map((axis) =>
    Float32Array.from({ length: count }, (_, i) => points[3 * i + axis]));
  const fromMedian = distancesTo(axes.map((values) => values.slice().sort()[count >> 1]));
  const strays = count < 10 || !strayShare ? 0 : Math.max(1, Math.floor(strayShare * count));
  const limit = 3 * fromMedian.slice().sort()[count - 1 - strays];
  const sortedNear = (values) =>
    values.filter((_, i) => strays === 0 || fromMedian[i] <= limit).sort();
  const center = axes.map(sortedNear).map((values) => {
    const cut = Math.floor(0.0005 * (values.length - 1));
    return (values[cut] + values[values.length - 1 - cut]) / 2;
  });
  const radiusAround = (point) => {
    const distances = sortedNear(distancesTo(point));
    return distances[Math.ceil(0.999 * (distances.length - 1))];
  };
  const radius = radiusAround(center), reach = radiusAround([0, 0, 0]);
  if (reach >= 0.4 && reach <= 1.25 && Math.hypot(...center) <= 0.3 * radius) return;
  HOME.target = center;
  HOME.distance = 3.2 * Math.max(radius, 1e-3);
}

// ---- Drawing

// Shows an object. `prepare(gl)` returns its `points` [n, 3], the share of them that may lie far
// off (`strayShare`), and `paint(camera)`, which draws it over the cleared canvas.
async function show(prepare, antialias) {
  const gl = canvas.getContext("webgl2", { antialias, alpha: false });
  if (!gl) throw new Error("this browser has no WebGL 2");
  const { points, strayShare, paint } = await prepare(gl);
  if (!INSIDE) fitHome(points, strayShare);
  readAddress();
  goHome();

  function draw() {
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    if (canvas.width !== width || canvas.height !== height) {
      [canvas.width, canvas.height] = [width, height];
    }
    gl.viewport(0, 0, width, height);
    gl.clearColor(...BACKGROUNDS[state.background], 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    // The field of view is that of the shorter side, so the object also fits on a phone.
    const focal = Math.min(width, height) / 2 / Math.tan(state.fovy / 2);
    paint({ ...pose(), width, height, focal });
  }

  let scheduled = false;
  function redraw() {
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(() => {
      scheduled = false;
      if (state.spin) state.azimuth += 0.01;
      draw();
      if (state.spin) redraw();
    });
  }
  addControls(redraw);
  // Phones drop the drawings of tabs in the background.
  canvas.addEventListener("webglcontextlost", () => {
    statusLine.textContent = "the browser has dropped the drawing; reload the page";
  });
  new ResizeObserver(redraw).observe(canvas);
  draw();
  statusLine.textContent = "";
  return { count: points.length / 3, state, draw };
}

// ---- Controls: pointers, wheel, keys and buttons

function addControls(redraw) {
  const pointers = new Map();
  const zoom = (factor) => {
    const clamped = (value, low, high) => Math.min(Math.max(value, low), high);
    if (INSIDE) state.fovy = clamped(state.fovy * factor, 0.2, 2);
    else {
      const [low, high] = [0.05 * HOME.distance, 20 * HOME.distance];
      state.distance = clamped(state.distance * factor, low, high);
    }
  };
  const orbit = (dx, dy) => {
    // What is seen follows the pointer, also inside.
    const sign = INSIDE ? -1 : 1;
    state.azimuth -= sign * dx;
    state.elevation = Math.min(Math.max(state.elevation + sign * dy, -1.55), 1.55);
  };
  const pan = (dx, dy) => {
    const { right, down } = pose();
    const perPixel = (2 * (state.distance || 1) * Math.tan(state.fovy / 2)) / canvas.clientHeight;
    for (let i = 0; i < 3; i++) state.target[i] -= perPixel * (dx * right[i] + dy * down[i]);
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
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => pointers.delete(event.pointerId));
  }
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
  const nextBackground = () => {
    state.background = (state.background + 1) % BACKGROUNDS.length;
  };
  // In a frame of another page, keys are for the object as soon as the frame has the focus.
  window.addEventListener("focus", () => {
    if (document.activeElement === document.body) canvas.focus({ preventScroll: true });
  });
  const keys = {
    ArrowLeft: () => orbit(0.1, 0), ArrowRight: () => orbit(-0.1, 0),
    ArrowUp: () => orbit(0, 0.1), ArrowDown: () => orbit(0, -0.1),
    "+": () => zoom(0.9), "=": () => zoom(0.9), "-": () => zoom(1 / 0.9),
    Home: goHome, " ": spin, b: nextBackground, B: nextBackground,
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
    redraw();
  });
  const buttons = { home: goHome, spin, background: nextBackground };
  for (const [id, action] of Object.entries(buttons)) {
    document.getElementById(id).addEventListener("click", () => { action(); redraw(); });
  }
}

// `window.gs3d` is a promise of the number of points, the camera's state and a function that draws.
function start(prepare, { antialias }) {
  window.gs3d = show(prepare, antialias);
  window.gs3d.catch((error) => { statusLine.textContent = `cannot be shown: ${error.message}`; });
}
