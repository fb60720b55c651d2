import './locale';
import './theme/tokens.css';
import './theme/parts.css';
import './theme/window.css';
import './theme/money.css';
import './theme/trust.css';
import { mount } from 'svelte';
import App from './App.svelte';
import { connect } from './ipc/client';
import { Store } from './state/store.svelte';

const target = document.getElementById('app');
if (!target) throw new Error('index.html has lost its #app');

const store = new Store(await connect());
mount(App, { target, props: { store } });
void store.open();
