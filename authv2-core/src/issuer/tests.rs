//! Behaviour of the room against invented documents.
