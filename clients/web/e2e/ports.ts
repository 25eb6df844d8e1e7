import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:net";

// freePort returns a port of a host that nobody listens at by TCP or UDP, on all
// addresses neither, and that the kernel gives to nobody who asks for any.
export async function freePort(host: string): Promise<number> {
  for (let i = 0; i < 1000; i++) {
    const port = 10_000 + Math.floor(Math.random() * 22_768);
    if (await isFree(host, port)) return port;
  }
  throw new Error(`no port of ${host} is free`);
}

async function isFree(host: string, port: number): Promise<boolean> {
  const tcp = createServer().listen(port, host);
  const udp = createSocket("udp4").bind(port, host);
  const bound = await Promise.allSettled([once(tcp, "listening"), once(udp, "listening")]);
  await Promise.allSettled([closed(tcp), closed(udp)]);
  return bound.every(({ status }) => status === "fulfilled");
}

function closed(socket: { close(done: () => void): void }): Promise<void> {
  return new Promise((done) => socket.close(() => done()));
}
