/** What can lie over the page Wallet; one at a time. */
export type DialogName = 'send' | 'receive' | 'create' | 'import' | 'pay_to' | 'words' | 'unlock' | 'rules' | 'delete';
