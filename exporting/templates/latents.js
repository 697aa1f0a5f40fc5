// The latent codes of generate.py: numpy.random.RandomState(seed).randn(zDim), as float32.
//
// MT19937 (Matsumoto and Nishimura 1998), numbers of 53 bits made from two outputs, and pairs of normal ones by the polar
// method (Marsaglia and Bray 1964).

const SIZE = 624, SHIFT = 397;

// Seed in 0 .. 2^32 - 1 -> a function that returns whole numbers in the same range.
export function mersenneTwister(seed) {
  const state = new Uint32Array(SIZE);
  state[0] = seed;
  for (let i = 1; i < SIZE; i++) state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
  let next = SIZE;

  function renew() {
    for (let i = 0; i < SIZE; i++) {
      const bits = (state[i] & 0x80000000) | (state[(i + 1) % SIZE] & 0x7fffffff);
      state[i] = state[(i + SHIFT) % SIZE] ^ (bits >>> 1) ^ (bits & 1 ? 0x9908b0df : 0);
    }
    next = 0;
  }

  return () => {
    if (next === SIZE) renew();
    let y = state[next++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  };
}

export function latent(seed, zDim) {
  const bits = mersenneTwister(seed);
  const uniform = () => ((bits() >>> 5) * 2 ** 26 + (bits() >>> 6)) / 2 ** 53;
  const z = new Float32Array(zDim);
  for (let i = 0; i < zDim; i += 2) {
    let x, y, square;
    do {
      x = 2 * uniform() - 1;
      y = 2 * uniform() - 1;
      square = x * x + y * y;
    } while (square >= 1 || square === 0);
    const scale = Math.sqrt(-2 * Math.log(square) / square);
    z[i] = scale * y;
    if (i + 1 < zDim) z[i + 1] = scale * x;
  }
  return z;
}

// From a (t = 0) to b (t = 1) along a great circle (Shoemake 1985), which keeps the length typical of normal codes.
export function between(a, b, t) {
  const dot = (x, y) => x.reduce((sum, value, i) => sum + value * y[i], 0);
  const angle = Math.acos(Math.max(-1, Math.min(1, dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b)))));
  const [first, last] = Math.sin(angle) < 1e-6 ? [1 - t, t] : [1 - t, t].map((part) => Math.sin(part * angle) / Math.sin(angle));
  return a.map((value, i) => first * value + last * b[i]);
}
