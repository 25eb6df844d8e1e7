import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { authorized, bearer, MetricsService } from "../src/index";
import { Completion } from "./complete";
import { byId } from "./dom";
import { Metadata } from "./metadata";
import { Names } from "./names";
import { Page } from "./page";
import { Replica } from "./replica";
import { startTheme } from "./theme";
import { Token } from "./token";

const token = new Token(() => void page.start());
const transport = createConnectTransport({
  baseUrl: location.origin,
  useBinaryFormat: true,
  // The field asks before it takes a token that would be sent without TLS.
  interceptors: [authorized(() => (token.value === "" ? "" : bearer(token.value)), { allowCleartext: true })],
});
const client = createClient(MetricsService, transport);
const metadata = new Metadata(client);
const names = new Names(client);
const completion = new Completion(byId<HTMLInputElement>("query"), byId("options"), names, metadata);
const page = new Page(transport, metadata, names, completion, new Replica(client), token);
startTheme(() => page.repaint());
void page.start();
void page.tick();
