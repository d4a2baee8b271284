// WebGL 2 helpers: programs and textures.

function createProgram(gl, vertex, fragment) {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) {
      throw new Error(gl.getShaderInfoLog(shader));
    }
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
    throw new Error(gl.getProgramInfoLog(program));
  }
  return program;
}

function createTexture(gl, unit, format, width, height, type, layout, data) {
  gl.activeTexture(gl.TEXTURE0 + unit);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  gl.texImage2D(gl.TEXTURE_2D, 0, format, width, height, 0, layout, type, data);
  for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) {
    gl.texParameteri(gl.TEXTURE_2D, filter, gl.NEAREST);
  }
}

// A vertex attribute of a program, as floats or, for a Uint32Array, as integers. Returns its buffer.
function createAttribute(gl, program, name, values, components, divisor, usage) {
  const location = gl.getAttribLocation(program, name), buffer = gl.createBuffer();
  gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
  gl.bufferData(gl.ARRAY_BUFFER, values, usage);
  gl.enableVertexAttribArray(location);
  if (values instanceof Uint32Array) {
    gl.vertexAttribIPointer(location, components, gl.UNSIGNED_INT, 0, 0);
  } else gl.vertexAttribPointer(location, components, gl.FLOAT, false, 0, 0);
  gl.vertexAttribDivisor(location, divisor);
  return buffer;
}
