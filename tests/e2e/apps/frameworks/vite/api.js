import express from 'express';

const app = express();
const notes = [{ text: 'milk' }];

app.get('/api/notes', (req, res) => {
  res.json(notes);
});

app.post('/api/notes', express.json(), (req, res) => {
  notes.push({ text: req.body.text });
  res.status(201).json({ count: notes.length });
});

app.listen(process.env.PORT ?? 3000);
