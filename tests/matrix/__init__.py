"""The tests that compute, again under other processors' kernels, other numbers of threads and another Python."""
