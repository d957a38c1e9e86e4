//! Who a client is: pure checks of what it shows. No sockets, clocks or random numbers.

pub mod x509_name;
