//! `raw`: a bare epoll server without a protocol, the floor that every figure of roost is compared with. Reads its
//! options and starts its threads; see README.md beside it.

mod api;
mod server;
mod wire;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::thread;

use clap::{Parser, ValueEnum};
use roost::sys::fd_table::unshare_fd_table;
use server::{Buffers, Floor, Mode};

#[derive(Parser)]
#[command(name = "raw", about = "A bare epoll server without a protocol: the floor")]
struct Options {
    /// Where connections are accepted; port 0 takes a free one, which is printed
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where a fan-out is triggered: any HTTP request with a body
    #[arg(long, default_value = "127.0.0.1:0")]
    api: SocketAddr,
    /// What is done with a connection after its upgrade
    #[arg(long, value_enum, default_value = "echo")]
    mode: ModeName,
    /// Payload bytes of an echoed message
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// SO_SNDBUF of each connection in bytes; 0 leaves it to the kernel
    #[arg(long, default_value_t = 0)]
    send_buffer: usize,
    /// SO_RCVBUF of each connection in bytes; 0 leaves it to the kernel
    #[arg(long, default_value_t = 0)]
    receive_buffer: usize,
    /// Threads, each with its own listener on the same port
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
    /// Give each thread a descriptor table of its own, to hold more connections than RLIMIT_NOFILE
    #[arg(long)]
    own_tables: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum ModeName {
    Echo,
    Fanout,
    IdlePing,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("raw: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let mode = match options.mode {
        ModeName::Echo => Mode::Echo { size: options.size },
        ModeName::Fanout => Mode::Fanout,
        ModeName::IdlePing => Mode::IdlePing,
    };
    let buffers = Buffers { send: options.send_buffer, receive: options.receive_buffer };
    let listeners = server::listen(options.listen, usize::from(options.threads), buffers)?;
    let api = TcpListener::bind(options.api)?;
    println!("listening on {}", listeners[0].local_addr()?);
    println!("triggers on http://{}", api.local_addr()?);

    let (mut threads, mut mailboxes) = (Vec::new(), Vec::new());
    let own_tables = options.own_tables;
    for listener in listeners {
        let (mailbox, mail) = server::mailbox()?;
        mailboxes.push(mailbox);
        threads.push(thread::spawn(move || {
            if own_tables {
                unshare_fd_table()?;
            }
            Floor::new(listener, mail, mode)?.run()
        }));
    }
    api::serve(api, mailboxes);
    for thread in threads {
        thread.join().unwrap_or(Err(io::ErrorKind::Other.into()))?;
    }
    Ok(())
}
