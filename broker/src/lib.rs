//! The MQTT front: mTLS, identity, ACL, credit, around rumqttd's router.
