//! The tray on Linux: a StatusNotifierItem and its menu, spoken over D-Bus without a toolkit, so that the app behind it stays small.

use ksni::menu::{MenuItem, StandardItem, SubMenu};
use ksni::{Category, Handle, Icon, Status, ToolTip, TrayMethods as _};
use tokio::sync::mpsc::UnboundedSender;

use super::menu::{self, Entry};
use super::{Action, Face, Glance, pictures};
use crate::view::Page;

/// The icon, while it is there.
pub(crate) struct Tray(Handle<Item>);

impl Tray {
    /// Puts the icon there. A tray host that comes later is served too; `Err`: there is no session bus at all.
    pub(crate) async fn start(actions: UnboundedSender<Action>) -> Result<Self, String> {
        let item = Item { face: Face::blank(), actions };
        item.assume_sni_available(true).spawn().await.map(Self).map_err(|error| error.to_string())
    }

    /// Shows this from now on.
    pub(crate) async fn show(&self, face: Face) {
        self.0
            .update(|item| {
                if item.face != face {
                    item.face = face;
                }
            })
            .await;
    }

    /// Takes the icon away.
    pub(crate) async fn stop(self) {
        self.0.shutdown().await;
    }
}

struct Item {
    face: Face,
    actions: UnboundedSender<Action>,
}

impl Item {
    fn choose(&self, action: Action) {
        // Fails only when the app ends.
        let _ = self.actions.send(action);
    }
}

impl ksni::Tray for Item {
    fn id(&self) -> String {
        "chrysalis".to_owned()
    }

    fn category(&self) -> Category {
        Category::ApplicationStatus
    }

    fn title(&self) -> String {
        "Chrysalis".to_owned()
    }

    fn status(&self) -> Status {
        match self.face.glance {
            Glance::Paused | Glance::Waiting | Glance::Working => Status::Active,
            Glance::Attention | Glance::Problem => Status::NeedsAttention,
        }
    }

    fn icon_pixmap(&self) -> Vec<Icon> {
        icons(self.face.glance)
    }

    fn attention_icon_pixmap(&self) -> Vec<Icon> {
        icons(self.face.glance)
    }

    fn tool_tip(&self) -> ToolTip {
        let lines: Vec<&str> = self.face.lines.iter().map(|(line, _)| line.as_str()).collect();
        ToolTip { title: self.face.title.clone(), description: lines.join("\n"), ..ToolTip::default() }
    }

    fn activate(&mut self, _x: i32, _y: i32) {
        self.choose(Action::Open(Page::Home));
    }

    fn menu(&self) -> Vec<MenuItem<Self>> {
        menu::menu(&self.face).into_iter().map(translated).collect()
    }
}

fn translated(entry: Entry) -> MenuItem<Item> {
    let spelled = |label: &str| menu::spelled(label, '_');
    match entry {
        Entry::Separator => MenuItem::Separator,
        Entry::Text(label) => StandardItem { label: spelled(&label), enabled: false, ..StandardItem::default() }.into(),
        Entry::Choice { label, enabled, action } => StandardItem {
            label: spelled(&label),
            enabled,
            activate: Box::new(move |item: &mut Item| item.choose(action)),
            ..StandardItem::default()
        }
        .into(),
        Entry::Menu { label, enabled, entries } => SubMenu {
            label: spelled(&label),
            enabled,
            submenu: entries.into_iter().map(translated).collect(),
            ..SubMenu::default()
        }
        .into(),
    }
}

/// D-Bus wants alpha, red, green, blue.
fn icons(glance: Glance) -> Vec<Icon> {
    pictures(glance)
        .into_iter()
        .map(|picture| {
            let mut data = picture.rgba;
            for pixel in data.as_chunks_mut::<4>().0 {
                pixel.rotate_right(1);
            }
            Icon { width: picture.edge.cast_signed(), height: picture.edge.cast_signed(), data }
        })
        .collect()
}
