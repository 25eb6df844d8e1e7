import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, ConnectError, createClient, createRouterTransport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { authorized, basic, bearer, follow, MetricsService } from "../src/index";

// sent makes a call to a URL, and returns the header that went over the network.
async function sent(baseUrl: string, ...args: Parameters<typeof authorized>): Promise<string | null> {
  let header: string | null = null;
  const transport = createConnectTransport({
    baseUrl,
    interceptors: [authorized(...args)],
    fetch: async (_url, init) => {
      header = new Headers(init?.headers).get("Authorization");
      return new Response("{}", { headers: { "Content-Type": "application/json" } });
    },
  });
  await createClient(MetricsService, transport).getStatus({});
  return header;
}

test("sends a credential over TLS, or to this machine", async () => {
  for (const url of ["https://server-1:8090", "http://localhost:8090", "http://127.0.0.1:8090", "http://127.8.9.7", "http://[::1]:8090"]) {
    assert.equal(await sent(url, () => bearer("secret")), "Bearer secret", url);
  }
  assert.equal(await sent("https://server-1:8090", async () => basic("ann", "pässword")), "Basic YW5uOnDDpHNzd29yZA==");
  assert.equal(await sent("http://server-1:8090", () => bearer("secret"), { allowCleartext: true }), "Bearer secret");
  assert.equal(await sent("http://server-1:8090", () => ""), null);
  assert.throws(() => basic("a:b", "c"), TypeError);
});

test("does not send a credential in the clear, nor try again", async () => {
  for (const url of ["http://server-1:8090", "http://10.0.0.1", "http://localhost.example", "http://127.0.0.1.example", "http://[fe80::1]"]) {
    let fetched = 0;
    const transport = createConnectTransport({
      baseUrl: url,
      interceptors: [authorized(() => bearer("secret"))],
      fetch: async () => {
        fetched++;
        return new Response();
      },
    });
    await assert.rejects(
      async () => {
        for await (const _ of follow(transport, { follow: true })) assert.fail("an update");
      },
      (err: ConnectError) => err.code === Code.FailedPrecondition && /not sent in the clear/.test(err.message) && !err.message.includes("secret"),
    );
    assert.equal(fetched, 0);
  }
});

test("gives up when a server refuses who calls, with what it says", async () => {
  for (const code of [Code.Unauthenticated, Code.PermissionDenied]) {
    let calls = 0;
    const transport = createRouterTransport(({ service }) => {
      service(MetricsService, {
        async *getMetrics() {
          calls++;
          throw new ConnectError("team-a may read its own series", code);
        },
      });
    });
    await assert.rejects(
      async () => {
        for await (const _ of follow(transport, { follow: true })) assert.fail("an update");
      },
      (err: ConnectError) => err.code === code && err.rawMessage === "team-a may read its own series",
    );
    assert.equal(calls, 1);
  }
});
