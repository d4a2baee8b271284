// Reads the .spz file (version 3) that is embedded in the page into arrays for WebGL textures.

const TEXTURE_WIDTH = 512; // splats per texture row: rows of 4 · 512 texels fit on any device

// Returns `count` splats with `rest` SH coefficients above degree 0 each, as `means` [count, 3] and
// two textures of `rows` rows. `data` has four texels per splat: the mean, two for the covariance,
// and the color of degree 0 with the opacity. `sh` has one texel per coefficient, in bytes.
function parseSpz(bytes) {
  const view = new DataView(bytes.buffer);
  if (view.getUint32(0, true) !== 0x5053474e || view.getUint32(4, true) !== 3) {
    throw new Error("the splats in this page are damaged");
  }
  const count = view.getUint32(8, true), degree = view.getUint8(12);
  const unit = 1 / (1 << view.getUint8(13));
  const rest = (degree + 1) ** 2 - 1;
  let offset = 16;
  const take = (size) => bytes.subarray(offset, (offset += size * count));
  const positions = take(9), alphas = take(1), colors = take(3), scales = take(3);
  const rotations = take(4), harmonics = take(3 * rest);
  const means = new Float32Array(3 * count);
  for (let i = 0; i < 3 * count; i++) {
    const low = positions[3 * i], middle = positions[3 * i + 1], high = positions[3 * i + 2];
    means[i] = (((low << 8) | (middle << 16) | (high << 24)) >> 8) * unit;
  }
  const rows = Math.ceil(count / TEXTURE_WIDTH);
  const data = new Float32Array(4 * 4 * TEXTURE_WIDTH * rows);
  const quat = [0, 0, 0, 0];
  for (let i = 0; i < count; i++) {
    const o = 16 * i, j = 4 * i;
    data.set(means.subarray(3 * i, 3 * i + 3), o);
    const lowBytes = rotations[j] | (rotations[j + 1] << 8);
    const word = (lowBytes | (rotations[j + 2] << 16) | (rotations[j + 3] << 24)) >>> 0;
    // A quaternion is stored without its largest component, which follows from its unit length.
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
    const cov = (p, q) =>
      a * r[3 * p] * r[3 * q] + b * r[3 * p + 1] * r[3 * q + 1] + c * r[3 * p + 2] * r[3 * q + 2];
    data.set([cov(0, 0), cov(0, 1), cov(0, 2)], o + 4);
    data.set([cov(1, 1), cov(1, 2), cov(2, 2)], o + 8);
    for (let k = 0; k < 3; k++) {
      data[o + 12 + k] = 0.5 + (0.28209479177387814 * (colors[3 * i + k] / 255 - 0.5)) / 0.15;
    }
    data[o + 15] = alphas[i] / 255;
  }
  const sh = new Uint8Array(4 * Math.max(rest, 1) * TEXTURE_WIDTH * rows);
  for (let i = 0; i < count * rest; i++) sh.set(harmonics.subarray(3 * i, 3 * i + 3), 4 * i);
  return { count, rest, rows, means, data, sh };
}
