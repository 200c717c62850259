//! The journal, the ledger of what was delivered, and the head.
