const express = require('express');

const router = express.Router();

router.get('/', (req, res) => {
  res.type('text').send(`${req.query.name} likes ${req.query.colour}`);
});

router.post('/', express.urlencoded(), (req, res) => {
  const { name, colour } = req.body;
  res.redirect(303, `/form?${new URLSearchParams({ name, colour })}`);
});

module.exports = router;
