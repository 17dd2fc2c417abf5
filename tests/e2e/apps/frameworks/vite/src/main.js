import './style.css';

const list = document.querySelector('#notes');
const answer = await fetch('/api/notes');
for (const { text } of await answer.json()) {
  const item = document.createElement('li');
  item.textContent = text;
  list.append(item);
}
