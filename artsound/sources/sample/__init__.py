"""The bundled synthetic sample: a miniature ArtGraph and FMA, painted and composed by code."""
