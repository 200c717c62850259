//! Identities, a certificate authority, and TLS configurations.
