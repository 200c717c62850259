//! Carrying out what a peer asks for, and fetching what waits for it.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};

use super::Connection;
use crate::fault::Fault;
use crate::packet;
use crate::session::Request;

/// About how many payload bytes are fetched from the table at a time.
const FETCH: usize = 64 << 10;

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Connection<S> {
    /// Carries out what the peer asks for in the bytes that are there, and gives back their memory.
    pub(super) async fn requests(&mut self) -> Result<(), Fault> {
        while let Some(request) = self.session.receive(&mut self.input, std::time::Instant::now())? {
            self.carry_out(request).await?;
        }
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        Ok(())
    }

    async fn carry_out(&mut self, request: Request) -> Result<(), Fault> {
        let id = self.id;
        match request {
            Request::Open { .. } => return Err(Fault::Unexpected),
            Request::Up {
                channel,
                payload,
                pkid,
            } => {
                self.front.with(|hub| hub.up(id, channel, payload))?;
                self.puback(pkid);
            }
            Request::Down {
                device,
                channel,
                payload,
                pkid,
            } => {
                self.front.with(|hub| hub.down(id, &device, channel, payload))?;
                self.puback(pkid);
            }
            Request::Other {
                topic,
                payload,
                retain,
                pkid,
            } => {
                if let Some(operator) = &mut self.operator {
                    Box::pin(operator.publish(&self.front, topic, payload, retain)).await?;
                }
                self.puback(pkid);
            }
            Request::Acked(pkid) => {
                self.front.with(|hub| hub.acked(id, pkid))?;
                self.fetch = true;
            }
            Request::Subscribe { pkid, filters } => {
                // An operator's messages go with QoS 0.
                let granted: Vec<bool> = filters
                    .iter()
                    .map(|(_, qos1)| *qos1 && self.operator.is_none())
                    .collect();
                packet::put_suback(&mut self.output, pkid, &granted);
                self.front.with(|hub| hub.subscribe(id, &filters));
                if let Some(operator) = &mut self.operator {
                    Box::pin(operator.subscribe(&self.front, filters)).await?;
                }
                self.fetch = true;
            }
            Request::Unsubscribe { pkid, filters } => {
                self.front.with(|hub| hub.unsubscribe(id, &filters));
                if let Some(operator) = &mut self.operator {
                    Box::pin(operator.unsubscribe(filters)).await?;
                }
                packet::put_unsuback(&mut self.output, pkid);
            }
            Request::Ping => packet::put_pingresp(&mut self.output),
            Request::Goodbye => return Err(Fault::Goodbye),
        }
        Ok(())
    }

    fn puback(&mut self, pkid: Option<u16>) {
        if let Some(pkid) = pkid {
            packet::put_puback(&mut self.output, pkid);
        }
    }

    /// Fetches what waits for the peer in the table.
    pub(super) fn fetch(&mut self) {
        let (deliveries, more) = self.front.with(|hub| hub.take(self.id, FETCH));
        self.fetch = more;
        for delivery in deliveries {
            packet::put_delivery(&mut self.output, delivery);
        }
    }
}
