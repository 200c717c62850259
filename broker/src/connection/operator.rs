//! An operator's part of a connection: a link to the router, opened when it is first needed, and a will of its own (the
//! router's take-over publishes the wrong one).

use bytes::{Bytes, BytesMut};
use wire::Identity;

use crate::acl::{self, Filter};
use crate::fault::Fault;
use crate::front::Front;
use crate::packet::{self, Delivery, Will};
use crate::router::link::{Link, Message};

/// Filters that one operator may have.
const MAX_FILTERS: usize = 128;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Operator {
    pub(super) will: Option<Will>,
    link: Option<Link>,
    filters: Vec<String>,
}

impl Operator {
    pub(super) async fn publish(
        &mut self,
        front: &Front,
        topic: String,
        payload: Bytes,
        retain: bool,
    ) -> Result<(), Fault> {
        self.link(front).await?.publish(topic, payload, retain).await
    }

    pub(super) async fn subscribe(
        &mut self,
        front: &Front,
        filters: Vec<(Filter, bool)>,
    ) -> Result<(), Fault> {
        for (filter, _) in filters {
            if let Filter::Other(filter) = filter
                && !self.filters.contains(&filter)
            {
                if self.filters.len() >= MAX_FILTERS {
                    return Err(Fault::SubscriptionCap);
                }
                self.filters.push(filter.clone());
                self.link(front).await?.subscribe(filter).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn unsubscribe(&mut self, filters: Vec<Filter>) -> Result<(), Fault> {
        for filter in filters {
            let Filter::Other(filter) = filter else {
                continue;
            };
            let Some(at) = self.filters.iter().position(|f| *f == filter) else {
                continue;
            };
            self.filters.swap_remove(at);
            if let Some(link) = &self.link {
                link.unsubscribe(filter).await?;
            }
        }
        Ok(())
    }

    /// Publishes the will unless the operator said goodbye.
    pub(super) async fn end(mut self, front: &Front, fault: Fault) {
        let (Some(will), false) = (self.will.take(), fault == Fault::Goodbye) else {
            return;
        };
        // An error: the router is dead, and nobody listens.
        let _ = self.publish(front, will.topic, will.payload, will.retain).await;
    }

    async fn link(&mut self, front: &Front) -> Result<&Link, Fault> {
        let link = match self.link.take() {
            Some(link) => link,
            None => front.router.link().await?,
        };
        Ok(self.link.insert(link))
    }
}

/// The next message for an operator that has a link; never, for others.
pub(super) async fn next(operator: &mut Option<Box<Operator>>) -> Result<Message, Fault> {
    match operator.as_mut().and_then(|operator| operator.link.as_mut()) {
        Some(link) => link.next().await,
        None => std::future::pending().await,
    }
}

/// Writes a message of the router, if this operator may see it.
pub(super) fn deliver(peer: &Identity, (topic, payload): Message, output: &mut BytesMut) {
    if acl::may_see(peer, &topic) {
        packet::put_delivery(
            output,
            Delivery {
                topic,
                payload,
                retain: false,
                pkid: None,
            },
        );
    }
}
