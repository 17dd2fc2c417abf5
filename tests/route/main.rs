//! The route table against the words of its contract, and against a reference that is as simple as
//! they are.

mod changes;
mod precedence;
mod random;
mod rules;
mod steady;
mod why;
