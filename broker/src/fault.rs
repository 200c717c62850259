//! Why a connection ends: one word each, which is the label of the metric that counts it.

/// Why a connection was closed, or never let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    /// The peer closed the stream.
    Gone,
    /// The peer said DISCONNECT.
    Goodbye,
    /// The stream broke.
    Io,
    /// The broker stops.
    Shutdown,
    /// Another connection of the same name came.
    TakenOver,
    /// Nothing was heard for 1.5 times the keep-alive.
    KeepAlive,
    /// The peer took none of the bytes waiting for it.
    WriteStall,
    /// The router that served an operator died, or cannot serve more.
    Router,
    /// The certificate is revoked, at connect or since.
    Revoked,
    /// The certificate is beyond its end and its grace.
    Expired,
    /// No client certificate.
    NoCertificate,
    /// The certificate is of another authority.
    Foreign,
    /// The certificate carries no identity of ours.
    Identity,
    /// The TLS handshake failed in another way.
    Tls,
    /// TLS and CONNECT took too long.
    HandshakeTime,
    /// Too many connections that have not said who they are.
    PendingCap,
    /// Too many connections.
    ConnectionCap,
    /// A peer on the Unix socket is another user.
    PeerUser,
    /// The client id is not the certificate's name.
    ClientId,
    /// The role has no business here.
    Role,
    /// Another MQTT version than 3.1.1.
    ProtocolVersion,
    /// A packet that breaks MQTT's rules.
    Malformed,
    /// A packet or payload over the limit.
    TooLarge,
    /// A packet that only a server sends, a second CONNECT, or another one first.
    Unexpected,
    /// QoS 2.
    Qos2,
    /// A PUBACK that answers nothing.
    UnsolicitedAck,
    /// A publish outside the peer's own topics.
    PublishAcl,
    /// A subscription outside the peer's own topics.
    SubscribeAcl,
    /// A will outside the device's own state topic.
    WillAcl,
    /// More subscriptions than a peer may have.
    SubscriptionCap,
    /// Bytes beyond what was granted.
    Credit,
    /// More alerts waiting than a device may have.
    AlertCredit,
    /// A state that cannot be read, or that changes the connection's nonce.
    State,
}

impl Fault {
    /// The label's value.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Fault::Gone => "gone",
            Fault::Goodbye => "goodbye",
            Fault::Io => "io",
            Fault::Shutdown => "shutdown",
            Fault::TakenOver => "taken_over",
            Fault::KeepAlive => "keep_alive",
            Fault::WriteStall => "write_stall",
            Fault::Router => "router",
            Fault::Revoked => "revoked",
            Fault::Expired => "expired",
            Fault::NoCertificate => "no_certificate",
            Fault::Foreign => "foreign_certificate",
            Fault::Identity => "identity",
            Fault::Tls => "tls",
            Fault::HandshakeTime => "handshake_time",
            Fault::PendingCap => "pending_cap",
            Fault::ConnectionCap => "connection_cap",
            Fault::PeerUser => "peer_user",
            Fault::ClientId => "client_id",
            Fault::Role => "role",
            Fault::ProtocolVersion => "protocol_version",
            Fault::Malformed => "malformed",
            Fault::TooLarge => "too_large",
            Fault::Unexpected => "unexpected_packet",
            Fault::Qos2 => "qos2",
            Fault::UnsolicitedAck => "unsolicited_ack",
            Fault::PublishAcl => "publish_acl",
            Fault::SubscribeAcl => "subscribe_acl",
            Fault::WillAcl => "will_acl",
            Fault::SubscriptionCap => "subscription_cap",
            Fault::Credit => "credit",
            Fault::AlertCredit => "alert_credit",
            Fault::State => "state",
        }
    }

    /// Whether the peer broke a rule, which is worth a warning; otherwise it is the life of a network.
    pub(crate) fn is_violation(self) -> bool {
        !matches!(
            self,
            Fault::Gone
                | Fault::Goodbye
                | Fault::Io
                | Fault::Shutdown
                | Fault::TakenOver
                | Fault::KeepAlive
                | Fault::WriteStall
                | Fault::Router
                | Fault::HandshakeTime
                | Fault::PendingCap
                | Fault::ConnectionCap
        )
    }
}
