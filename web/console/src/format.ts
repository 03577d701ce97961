// Numbers as people read them.

const grouped = new Intl.NumberFormat('en-US');

export const count = (n: number): string => grouped.format(n);

/** `1.2k`, `34M` */
export function short(n: number): string {
  for (const [size, unit] of [
    [1e9, 'G'],
    [1e6, 'M'],
    [1e3, 'k'],
  ] as const) {
    if (n >= size) return `${(n / size).toFixed(n / size < 10 ? 1 : 0)}${unit}`;
  }
  return String(n);
}

export function bytes(n: number): string {
  for (const [size, unit] of [
    [1024 ** 4, 'TiB'],
    [1024 ** 3, 'GiB'],
    [1024 ** 2, 'MiB'],
    [1024, 'KiB'],
  ] as const) {
    if (n >= size) return `${(n / size).toFixed(n / size < 10 ? 1 : 0)} ${unit}`;
  }
  return `${n} B`;
}

export function percent(ratio: number | null): string {
  if (ratio === null) return '–';
  // Rounded down: 100 % means without any failure.
  const shown = Math.floor(ratio * 10_000) / 100;
  return `${shown.toFixed(shown === 100 ? 0 : 2)} %`;
}
