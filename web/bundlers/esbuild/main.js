import { inlineLogWorker, inlineUploadWorker } from '@logferry/browser/inline';
import { run } from '../app.js';

run({ logWorker: inlineLogWorker, uploadWorker: inlineUploadWorker });
