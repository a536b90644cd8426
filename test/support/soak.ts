/** Is this `make soak`? It runs what `make test` has only a part of, since CI has half an hour on two cores. */
export const SOAK: boolean = process.env['UMBRA_SOAK'] !== undefined;
