const express = require("express");

const app = express();
app.use(express.urlencoded({ extended: false }));

app.get("/", (request, response) => {
  response.type("html").send(`<!doctype html>
<title>Express</title>
<h1>Hello</h1>
<form method="post"><input name="name"><button>That is me</button></form>
`);
});

app.post("/", (request, response) => {
  response.type("text").send(`Hello, ${request.body.name}\n`);
});

// By hand: node server.js.
app.listen(process.env.PORT || 3000, () => console.log("listening"));
