import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { MetricsService } from "../src/index";
import { Completion } from "./complete";
import { byId } from "./dom";
import { Metadata } from "./metadata";
import { Page } from "./page";
import { Replica } from "./replica";
import { startTheme } from "./theme";

const transport = createConnectTransport({ baseUrl: location.origin, useBinaryFormat: true });
const client = createClient(MetricsService, transport);
const metadata = new Metadata(client);
const completion = new Completion(byId<HTMLInputElement>("query"), byId("options"), client, metadata);
const page = new Page(transport, metadata, completion, new Replica(client));
startTheme(() => page.repaint());
void page.start();
