// The WebGL program that draws splats, one quad each.
//
// The projection is the one of gs3d's rasterizer: EWA with a blur of 0.3 square pixels. Each splat
// reaches to where its opacity falls to 1/255.

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
out vec2 offset;
out vec4 color;

vec4 texel(int k) {
  int column = int(index % ${TEXTURE_WIDTH}u), row = int(index / ${TEXTURE_WIDTH}u);
  return texelFetch(splats, ivec2(4 * column + k, row), 0);
}

vec3 coefficient(int k) {
  int column = int(index % ${TEXTURE_WIDTH}u), row = int(index / ${TEXTURE_WIDTH}u);
  return (texelFetch(harmonics, ivec2(rest * column + k, row), 0).rgb * 255.0 - 128.0) / 128.0;
}

vec3 shaded(vec3 base, vec3 d) {
  if (rest < 3) return base;
  float x = d.x, y = d.y, z = d.z;
  base += 0.4886025119029199
    * (-y * coefficient(0) + z * coefficient(1) - x * coefficient(2));
  if (rest < 8) return base;
  base += 1.0925484305920792
    * (x * y * coefficient(3) - y * z * coefficient(4) - x * z * coefficient(6));
  base += 0.31539156525252005 * (3.0 * z * z - 1.0) * coefficient(5)
    + 0.5462742152960396 * (x * x - y * y) * coefficient(7);
  if (rest < 15) return base;
  base += -0.5900435899266435 * (y * (3.0 * x * x - y * y) * coefficient(8)
    + x * (x * x - 3.0 * y * y) * coefficient(14));
  base += 2.890611442640554 * x * y * z * coefficient(9)
    + 1.445305721320277 * z * (x * x - y * y) * coefficient(13);
  base += -0.4570457994644658 * (5.0 * z * z - 1.0)
    * (y * coefficient(10) + x * coefficient(12));
  return base + 0.3731763325901154 * z * (5.0 * z * z - 3.0) * coefficient(11);
}

void main() {
  vec3 mean = texel(0).xyz, a = texel(1).xyz, b = texel(2).xyz;
  vec4 base = texel(3);
  vec3 p = turn * (mean - eye); // x right, y down, z forward
  gl_Position = vec4(0.0, 0.0, 2.0, 1.0);
  offset = vec2(0.0);
  color = vec4(0.0);
  if (p.z < 0.01 || base.a < 1.0 / 255.0) return;
  mat3 world = mat3(a.x, a.y, a.z, a.y, b.x, b.y, a.z, b.y, b.z);
  // Slopes are clamped beyond the edges of the image, as in all EWA rasterizers.
  vec2 limit = 0.65 * size / focal;
  vec2 slope = clamp(p.xy / p.z, -limit, limit);
  mat3 view = turn * world * transpose(turn);
  vec3 jx = vec3(focal / p.z, 0.0, -focal * slope.x / p.z);
  vec3 jy = vec3(0.0, focal / p.z, -focal * slope.y / p.z);
  float xx = dot(jx, view * jx) + 0.3, xy = dot(jx, view * jy), yy = dot(jy, view * jy) + 0.3;
  // Eigenvalues of the 2D covariance are middle ± apart.
  float middle = 0.5 * (xx + yy);
  float apart = sqrt(max(0.25 * (xx - yy) * (xx - yy) + xy * xy, 1e-12));
  vec2 axis = abs(xy) > 1e-9
    ? normalize(vec2(xy, middle + apart - xx)) : (xx >= yy ? vec2(1, 0) : vec2(0, 1));
  float reach = sqrt(2.0 * log(255.0 * base.a));
  vec2 along = axis * sqrt(middle + apart);
  vec2 across = vec2(-axis.y, axis.x) * sqrt(max(middle - apart, 0.0));
  offset = corner * reach;
  vec2 pixel = focal * p.xy / p.z + offset.x * along + offset.y * across;
  gl_Position = vec4(2.0 * pixel.x / size.x, -2.0 * pixel.y / size.y, 0.0, 1.0);
  color = vec4(max(shaded(base.rgb, normalize(mean - eye)), 0.0), base.a);
}`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec2 offset;
in vec4 color;
out vec4 result;
void main() {
  float alpha = min(color.a * exp(-0.5 * dot(offset, offset)), 0.999);
  if (alpha < 1.0 / 255.0) discard;
  result = vec4(color.rgb * alpha, alpha);
}`;
