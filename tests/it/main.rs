//! What the twin does, feature by feature, mostly over real sockets. One binary: linking is dear.

mod scenario;
