// Draws the splats of the page: sorted by depth on the CPU and blended back to front.

// A counting sort by depth in 65,536 steps, far to near

function sortByDepth(means, count, forward, eye, order, depths, buckets) {
  const [fx, fy, fz] = forward, [ex, ey, ez] = eye;
  let low = Infinity, high = -Infinity;
  for (let i = 0; i < count; i++) {
    const x = means[3 * i] - ex, y = means[3 * i + 1] - ey, z = means[3 * i + 2] - ez;
    const depth = fx * x + fy * y + fz * z;
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

async function prepareSplats(gl) {
  const { count, rest, rows, means, data, sh } = parseSpz(await unpack());
  const program = createProgram(gl, VERTEX, FRAGMENT);
  gl.useProgram(program);
  const shWidth = Math.max(rest, 1) * TEXTURE_WIDTH;
  createTexture(gl, 0, gl.RGBA32F, 4 * TEXTURE_WIDTH, rows, gl.FLOAT, gl.RGBA, data);
  createTexture(gl, 1, gl.RGBA8, shWidth, rows, gl.UNSIGNED_BYTE, gl.RGBA, sh);
  const uniform = (name) => gl.getUniformLocation(program, name);
  gl.uniform1i(uniform("splats"), 0);
  gl.uniform1i(uniform("harmonics"), 1);
  gl.uniform1i(uniform("rest"), rest);
  const at = {
    turn: uniform("turn"), eye: uniform("eye"), size: uniform("size"), focal: uniform("focal"),
  };
  const corners = new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]);
  const order = new Uint32Array(count), depths = new Float32Array(count);
  const buckets = new Uint32Array(65537);
  createAttribute(gl, program, "corner", corners, 2, 0, gl.STATIC_DRAW);
  const indices = createAttribute(gl, program, "index", order, 1, 1, gl.DYNAMIC_DRAW);
  gl.enable(gl.BLEND);
  gl.blendFuncSeparate(gl.ONE, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE_MINUS_SRC_ALPHA);

  function paint({ eye, right, down, forward, width, height, focal }) {
    sortByDepth(means, count, forward, eye, order, depths, buckets);
    gl.bindBuffer(gl.ARRAY_BUFFER, indices);
    gl.bufferSubData(gl.ARRAY_BUFFER, 0, order);
    gl.uniformMatrix3fv(at.turn, true, [...right, ...down, ...forward]);
    gl.uniform3fv(at.eye, eye);
    gl.uniform2f(at.size, width, height);
    gl.uniform1f(at.focal, focal);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, count);
  }
  return { points: means, strayShare: 0.02, paint };
}

start(prepareSplats, { antialias: false });
