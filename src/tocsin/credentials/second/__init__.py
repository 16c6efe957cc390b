"""The second step of a sign-in, and passkeys: time-based codes (RFC 6238), recovery codes, WebAuthn.

Where the seeds lie, and why so. A time-based code is an HMAC: whoever checks one needs the seed, so it cannot be stored as a hash. Checking
it inside the database would put the sealing key there, beside what it seals. So the seed is sealed under the key `factor`, bound to its
account; the key lies outside the database, and only the public process and the operator's (for its canaries) may hold it. A stolen database
holds no seed that can be used; a taken-over public process can ask for one account's seed at a time, through a function, and never read a
table of them.

Recovery codes have 120 random bits, so their SHA-256 is stored: from 112 bits on no slow hash is needed (NIST SP 800-63B-4 s3.1.2.2, ASVS 5.0
V6.5.2). Of a passkey only the public key is stored. Between the two steps there is no session, only a sealed ticket of five minutes with the
epoch and password version that were read with the password: what it opens after a cutover is dead at birth. Challenges are sealed tickets too,
so that a GET writes nothing; each factor accepts only a step or challenge later than its last one, so none counts twice.
"""
