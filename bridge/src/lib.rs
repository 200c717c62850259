//! The fleet side: ingest, acks and grants, the query API.
