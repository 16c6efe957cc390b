"""The filter of breached passwords: a binary fuse filter of 16 bits per fingerprint, read from disk by any number of processes.

Design: 18 bits per password, so that a thousand million of them take 2.3 GB of a disk and of shared page cache, and no request to anybody.
It never misses a password that it holds; of others it refuses 1 in 65,536 (2^-16) for no reason. A Bloom filter of the same rate needs 23 bits.
Built with numpy; read with the standard library alone. Source: Graf and Lemire, Binary Fuse Filters (2022), arXiv 2201.01174.

The file, all numbers little-endian:
    byte 0    u64  seed
    byte 8    u32  segment length L, a power of two
    byte 12   u32  number of segments that a first position may lie in
    byte 16   u32  that number times L, called C
    byte 20   u32  number of fingerprints N = C + 2 L
    byte 24   u16  fingerprint, N times
    then      u64  number of keys, and 32 bytes: SHA-256 of all before it

A key is bytes 1 to 8 of the SHA-1 of a password's UTF-8, read as a big-endian number. To look one up, all arithmetic modulo 2^64:
    h = key + seed; h ^= h >> 33; h *= 0xff51afd7ed558ccd; h ^= h >> 33; h *= 0xc4ceb9fe1a85ec53; h ^= h >> 33
    a = (h * C) >> 64 (of the 128-bit product); b = (a + L) ^ ((h >> 18) & (L - 1)); c = (a + 2 L) ^ (h & (L - 1))
    it is held if and only if the fingerprints at a, b and c, and the lowest 16 bits of h ^ (h >> 32), XOR to zero
Up to KEYS_OF_ONE_FILE_MAX keys are one such file. More are a folder of 256, `00.fuse16` to `ff.fuse16`, chosen by byte 0 of the SHA-1.
"""
