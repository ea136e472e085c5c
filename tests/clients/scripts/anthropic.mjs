// The official Anthropic SDK: whole, streamed, and a tool's round trip in a stream.
import Anthropic from "@anthropic-ai/sdk";

const model = process.env.MODEL;
const client = new Anthropic();
const max_tokens = 2000;
const tools = [
  {
    name: "weather",
    description: "The weather in a city.",
    input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
];
const text = (message) => message.content.map((block) => block.text ?? "").join("");

const models = await client.models.list();
const whole = await client.messages.create({ model, max_tokens, messages: [{ role: "user", content: "Hello" }] });

let streamed = "";
const stream = client.messages.stream({ model, max_tokens, messages: [{ role: "user", content: "Hello again" }] });
stream.on("text", (piece) => (streamed += piece));
const { usage } = await stream.finalMessage();

const asked = [{ role: "user", content: "use the tool weather" }];
const called = await client.messages.stream({ model, max_tokens, messages: asked, tools }).finalMessage();
const call = called.content.find((block) => block.type === "tool_use");
const result = { role: "user", content: [{ type: "tool_result", tool_use_id: call.id, content: "sunny" }] };
const said = { role: "assistant", content: called.content };
const end = await client.messages.create({ model, max_tokens, messages: [...asked, said, result], tools });

console.log(
  JSON.stringify({
    models: models.data.map((each) => each.id),
    whole: text(whole),
    streamed,
    tokens: [usage.input_tokens, usage.output_tokens],
    tool: call.name,
    city: call.input.city,
    end: text(end),
    finish: [called.stop_reason, end.stop_reason],
  }),
);
